"""Our own definitions of frozen networks in plain torch, imported only to export or fall back."""
