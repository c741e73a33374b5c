"""Files that are whole or absent, and the protocol by which jobs store and resume their work."""
