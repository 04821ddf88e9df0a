"""From a table to what can be said about it: plain functions over a DataFrame of schema 1."""
