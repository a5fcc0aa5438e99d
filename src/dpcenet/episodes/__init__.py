"""Episodes: which support and query make a task, in training and in evaluation."""
