"""What the engine reports after a commit: failures to the log, ended runs to the site."""
