# The C library, static and shared, and what a program finds it by: the target cellgate::cellgate in this build and
# of the installed package, and cellgate.pc. Included by CMakeLists.txt.
include(GNUInstallDirs)

cellgate_add_kernels(cellgate_library CELLGATE_COMPACT)
get_property(kernel_objects GLOBAL PROPERTY cellgate_library_kernel_objects)

set(CELLGATE_SOVERSION 0) # raised when a program that was linked before would no longer run
set(small_sources # of which no call of a stream depends on: half the code
  csrc/capi/create.cpp
  csrc/capi/error.cpp
  csrc/capi/library.cpp
  csrc/capi/load.cpp
  csrc/capi/model.cpp)
add_library(cellgate_objects OBJECT ${forward_sources} ${small_sources} csrc/capi/run.cpp csrc/capi/stream.cpp)
target_compile_options(cellgate_objects PRIVATE -ffunction-sections -fdata-sections)
target_include_directories(cellgate_objects PRIVATE csrc csrc/include ${CMAKE_CURRENT_BINARY_DIR}/generated)
target_compile_definitions(cellgate_objects PRIVATE CELLGATE_VERSION="${CELLGATE_VERSION}")
set_source_files_properties(${small_sources} PROPERTIES COMPILE_OPTIONS -Os)
if(CELLGATE_THREADS)
  target_sources(cellgate_objects PRIVATE ${pool_sources})
else()
  target_compile_definitions(cellgate_objects PRIVATE CELLGATE_NO_THREADS)
endif()
if(CELLGATE_FILES)
  target_sources(cellgate_objects PRIVATE ${files_sources})
  target_include_directories(cellgate_objects SYSTEM PRIVATE
    $<TARGET_PROPERTY:cellgate_nlohmann_json,INTERFACE_INCLUDE_DIRECTORIES>)
  target_compile_definitions(cellgate_objects PRIVATE CELLGATE_FILES=1)
endif()

# What a program in C needs besides: the C++ library that this compiler links.
set(runtime_libraries "")
foreach(library IN ITEMS stdc++ c++ m)
  if(library IN_LIST CMAKE_CXX_IMPLICIT_LINK_LIBRARIES)
    list(APPEND runtime_libraries ${library})
  endif()
endforeach()

add_library(cellgate_static STATIC $<TARGET_OBJECTS:cellgate_objects> ${kernel_objects})
add_library(cellgate_shared SHARED $<TARGET_OBJECTS:cellgate_objects> ${kernel_objects})
foreach(kind IN ITEMS static shared)
  set_target_properties(cellgate_${kind} PROPERTIES OUTPUT_NAME cellgate EXPORT_NAME ${kind} LINKER_LANGUAGE CXX)
  target_include_directories(cellgate_${kind} INTERFACE
    $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/csrc/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  if(CELLGATE_THREADS)
    target_link_libraries(cellgate_${kind} PRIVATE Threads::Threads)
  endif()
  add_library(cellgate::${kind} ALIAS cellgate_${kind})
endforeach()
target_link_libraries(cellgate_static INTERFACE ${runtime_libraries})
set_target_properties(cellgate_shared PROPERTIES VERSION ${CELLGATE_VERSION} SOVERSION ${CELLGATE_SOVERSION})
if(NOT APPLE)
  # Functions are bound when the library is loaded, not at their first call on a real-time thread.
  set(exports ${CMAKE_CURRENT_SOURCE_DIR}/csrc/capi/exports.map)
  target_link_options(cellgate_shared PRIVATE
    -Wl,--gc-sections -Wl,-z,now -Wl,-z,relro -Wl,--version-script=${exports})
  set_target_properties(cellgate_shared PROPERTIES LINK_DEPENDS ${exports})
endif()
if(BUILD_SHARED_LIBS)
  add_library(cellgate::cellgate ALIAS cellgate_shared)
else()
  add_library(cellgate::cellgate ALIAS cellgate_static)
endif()

if(NOT CMAKE_SOURCE_DIR STREQUAL CMAKE_CURRENT_SOURCE_DIR)
  set(by_default OFF)
elseif(CELLGATE_PYTHON)
  set(by_default OFF)
else()
  set(by_default ON)
endif()
option(CELLGATE_INSTALL "Install the C library" ${by_default})
if(CELLGATE_INSTALL)
  include(CMakePackageConfigHelpers)
  set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/cellgate)
  install(TARGETS cellgate_static cellgate_shared EXPORT cellgate)
  install(EXPORT cellgate NAMESPACE cellgate:: FILE cellgateTargets.cmake DESTINATION ${package_folder})
  install(DIRECTORY csrc/include/cellgate DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  configure_package_config_file(csrc/capi/cellgateConfig.cmake.in cellgateConfig.cmake
    INSTALL_DESTINATION ${package_folder})
  write_basic_package_version_file(cellgateConfigVersion.cmake
    VERSION ${CELLGATE_VERSION} COMPATIBILITY SameMinorVersion)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/cellgateConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/cellgateConfigVersion.cmake
    DESTINATION ${package_folder})
  # A prefix that CMake or the packager moves is found from where the file lies.
  if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
    set(pc_prefix "${CMAKE_INSTALL_PREFIX}")
  else()
    file(RELATIVE_PATH up "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
    string(REGEX REPLACE "/$" "" up "${up}")
    set(pc_prefix "\${pcfiledir}/${up}")
  endif()
  set(pc_private "")
  foreach(library IN LISTS runtime_libraries)
    string(APPEND pc_private " -l${library}")
  endforeach()
  if(CELLGATE_THREADS)
    string(APPEND pc_private " ${CMAKE_THREAD_LIBS_INIT}")
  endif()
  configure_file(csrc/capi/cellgate.pc.in cellgate.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/cellgate.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()
