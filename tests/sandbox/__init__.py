"""The sandbox, over real sockets and as a real child process."""
