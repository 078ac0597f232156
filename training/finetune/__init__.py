"""A published model learns more: continual learning and few-shot adaptation."""
