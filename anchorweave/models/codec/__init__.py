"""Between what people see and read and what networks do: videos and prompts, by family."""
