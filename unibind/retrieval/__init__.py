"""Durable stores of embeddings, and search in them."""
