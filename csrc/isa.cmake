# THE list of instruction sets. Included by CMakeLists.txt; nothing else names them.
# A row is: name | compiler flags | run-time test of the CPU, a C++ expression.
# Best first: the first row whose test holds is the one picked at run time.
string(TOLOWER "${CMAKE_SYSTEM_PROCESSOR}" cellgate_processor)
if(cellgate_processor MATCHES "^(x86_64|amd64)$")
  set(CELLGATE_ISA_ROWS
    "avx512|-mavx512f -mavx512dq -mavx512bw -mavx512vl -mavx2 -mfma -mprefer-vector-width=512|__builtin_cpu_supports(\"avx512f\") && __builtin_cpu_supports(\"avx512dq\") && __builtin_cpu_supports(\"avx512bw\") && __builtin_cpu_supports(\"avx512vl\")"
    "avx2|-mavx2 -mfma|__builtin_cpu_supports(\"avx2\") && __builtin_cpu_supports(\"fma\")"
    "baseline||true")
elseif(cellgate_processor MATCHES "^(aarch64|arm64)$")
  set(CELLGATE_ISA_ROWS "neon||true")
else()
  set(CELLGATE_ISA_ROWS "baseline||true")
endif()
