"""Text that a language model wrote about classes: stored, written, checked and reviewed."""
