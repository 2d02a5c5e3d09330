"""What a space is worth: protocols with held-out classes, baselines, intervals, and pictures."""
