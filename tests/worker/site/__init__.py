"""An installed app whose flows every process of a test knows, also those that a test only starts."""
