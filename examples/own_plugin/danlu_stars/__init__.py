"""Stars for a text: a task, a method and a metric for Danlu."""
