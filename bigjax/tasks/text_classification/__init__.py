"""Text classification (sentiment, intent, topic): one class, or any number, for every text."""
