/* The header alone, as a program in C99 includes it; twice, for its guard. */
#include <cellgate/cellgate.h>

/* A prototype that is not one would be a warning. */
typedef int header_is_complete[sizeof(cg_error) > CG_MESSAGE_BYTES ? 1 : -1];
