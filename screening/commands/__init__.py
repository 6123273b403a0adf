"""The commands of ``ionbridge``, one module each: ``add(commands)`` adds the parser."""
