"""The three threads of a pipeline, what they tell each other, and who words the answers."""
