# The target cellgate_nlohmann_json: the headers of nlohmann-json, from its CMake package (Debian's
# nlohmann-json3-dev), or from PyPI's nlohmann-json, which has no CMake package and lies in site-packages, where
# scikit-build-core tells CMake to look.
add_library(cellgate_nlohmann_json INTERFACE)
find_package(nlohmann_json 3.10 CONFIG QUIET)
if(TARGET nlohmann_json::nlohmann_json)
  get_target_property(CELLGATE_JSON_INCLUDE nlohmann_json::nlohmann_json INTERFACE_INCLUDE_DIRECTORIES)
  list(GET CELLGATE_JSON_INCLUDE 0 CELLGATE_JSON_INCLUDE)
else()
  find_path(CELLGATE_JSON_INCLUDE nlohmann/json.hpp PATH_SUFFIXES include nlohmann_json/include)
endif()
if(NOT CELLGATE_JSON_INCLUDE)
  message(FATAL_ERROR "cellgate reads files with nlohmann-json 3.10 or newer, which was not found: install "
    "Debian's nlohmann-json3-dev or PyPI's nlohmann-json, or build with -DCELLGATE_FILES=OFF")
endif()
# Of a folder that has the headers of this machine too, a cross compiler must see those of nlohmann-json only.
if(CMAKE_CROSSCOMPILING AND EXISTS "${CELLGATE_JSON_INCLUDE}/nlohmann/json.hpp")
  file(MAKE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/nlohmann_json")
  file(CREATE_LINK "${CELLGATE_JSON_INCLUDE}/nlohmann" "${CMAKE_CURRENT_BINARY_DIR}/nlohmann_json/nlohmann" SYMBOLIC)
  set(CELLGATE_JSON_INCLUDE "${CMAKE_CURRENT_BINARY_DIR}/nlohmann_json")
endif()
target_include_directories(cellgate_nlohmann_json SYSTEM INTERFACE "${CELLGATE_JSON_INCLUDE}")
