"""Models of conductivity, diffusivity and properties of hosts."""
