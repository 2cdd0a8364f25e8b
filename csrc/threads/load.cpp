// The count of runnable threads, from Linux's /proc/loadavg.
#include "threads/load.hpp"

#include "threads/cpus.hpp"

#if defined(__linux__)
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "threads/cpus.hpp"
#endif

namespace cellgate {

#if defined(__linux__)
bool cores_for(int more) noexcept {
  // Kept open: reading it takes about a microsecond, opening it several.
  static const int file = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
  // The count is of the whole system. If this process may use some of the cores only, it does not tell
  // whether these are free.
  static const int cores = usable_cpus() == sysconf(_SC_NPROCESSORS_ONLN) ? usable_cpus() : 0;
  char text[64];
  const ssize_t length = file < 0 ? 0 : pread(file, text, sizeof text - 1, 0);
  if (length <= 0) return false;
  text[length] = 0;
  int runnable = 0;  // the caller included; the fourth field is runnable/all
  return std::sscanf(text, "%*s %*s %*s %d/", &runnable) == 1 && runnable > 0 && runnable + more <= cores;
}
#else
bool cores_for(int) noexcept { return false; }
#endif

}  // namespace cellgate
