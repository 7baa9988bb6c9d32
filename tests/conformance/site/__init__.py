"""An installed app whose flows are all documents that are not refused, for worker processes."""
