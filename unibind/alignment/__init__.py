"""From features to the space: centers made of text, heads trained against them, decisions."""
