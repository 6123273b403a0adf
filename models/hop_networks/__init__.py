"""Message passing on hops: pretraining, fine-tuning and ensembles."""
