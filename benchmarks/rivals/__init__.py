"""Published kinds of model, tuned with our budget on our rows."""
