"""Pages that act: forms, previews, and the verbs behind them."""
