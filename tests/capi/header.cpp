// Both headers alone, as a program in C++17 includes them; twice, for their guards.
#include <cellgate/cellgate.h>
#include <cellgate/cellgate.hpp>
