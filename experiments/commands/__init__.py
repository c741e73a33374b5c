"""The commands of the application, one a file, and what they share."""
