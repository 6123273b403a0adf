"""From barriers to diffusion and conduction."""
