"""What every kernel needs: the compiler, the launcher, graphs, cuBLAS, and the machine under one name each."""
