"""Those who write: a server, a model on this machine, a file, a batch."""
