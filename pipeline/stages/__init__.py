"""One module per DVC stage, each with `run(params, root, ...)`; `__main__` enters them."""
