// A program in C++ that hears of an error.
#include <cellgate/cellgate.hpp>
#include <cstdio>

int main() {
  try {
    cellgate::Model::load("/no/such/file");
  } catch (const cellgate::Error& error) {
    std::printf("cellgate: %s\n", error.what());
    return error.code() == CG_UNREADABLE || error.code() == CG_UNSUPPORTED ? 0 : 1;
  }
  return 1;
}
