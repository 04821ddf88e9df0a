"""One call to the API: settings, key, replies, and the client itself."""
