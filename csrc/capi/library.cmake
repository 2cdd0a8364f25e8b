# The C library, static and shared, and what a program finds it by: the target cellgate::cellgate in this build and
# of the installed package, and cellgate.pc. Included by CMakeLists.txt.
include(GNUInstallDirs)

cellgate_add_kernels(cellgate_library CELLGATE_COMPACT)
get_property(kernel_objects GLOBAL PROPERTY cellgate_library_kernel_objects)

set(CELLGATE_SOVERSION 0) # raised when a program that was linked before would no longer run
# What a call of a stream runs, besides the kernels; all else has half the code instead of speed.
set(fast_sources
  csrc/capi/stream.cpp
  csrc/run/frames.cpp
  csrc/run/head.cpp
  csrc/run/layer_forward.cpp)
set(small_sources
  csrc/capi/create.cpp
  csrc/capi/error.cpp
  csrc/capi/library.cpp
  csrc/capi/load.cpp
  csrc/capi/model.cpp
  csrc/capi/run.cpp
  ${forward_sources})
list(REMOVE_ITEM small_sources ${fast_sources})
if(CELLGATE_THREADS)
  list(APPEND small_sources ${pool_sources})
endif()
if(CELLGATE_FILES)
  list(APPEND small_sources ${files_sources})
  list(REMOVE_ITEM small_sources csrc/files/safetensors_write.cpp) # a network is saved from Python
endif()

add_library(cellgate_small OBJECT ${small_sources})
add_library(cellgate_fast OBJECT ${fast_sources})
target_compile_options(cellgate_small PRIVATE -Os)
foreach(objects IN ITEMS cellgate_small cellgate_fast)
  # Without symbols that are unique in the process: they would keep a plug-in from being unloaded.
  target_compile_options(${objects} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fno-gnu-unique>)
  target_include_directories(${objects} PRIVATE csrc csrc/include ${CMAKE_CURRENT_BINARY_DIR}/generated)
  target_compile_definitions(${objects} PRIVATE CELLGATE_VERSION="${CELLGATE_VERSION}"
    $<$<BOOL:${CELLGATE_FILES}>:CELLGATE_FILES=1> $<$<NOT:$<BOOL:${CELLGATE_THREADS}>>:CELLGATE_NO_THREADS>)
endforeach()
if(CELLGATE_FILES)
  target_include_directories(cellgate_small SYSTEM PRIVATE
    $<TARGET_PROPERTY:cellgate_nlohmann_json,INTERFACE_INCLUDE_DIRECTORIES>)
endif()

# What a program in C needs besides: the C++ library that this compiler links.
set(runtime_libraries "")
foreach(library IN ITEMS stdc++ c++ m)
  if(library IN_LIST CMAKE_CXX_IMPLICIT_LINK_LIBRARIES)
    list(APPEND runtime_libraries ${library})
  endif()
endforeach()

set(library_objects $<TARGET_OBJECTS:cellgate_small> $<TARGET_OBJECTS:cellgate_fast> ${kernel_objects})
add_library(cellgate_static STATIC ${library_objects})
add_library(cellgate_shared SHARED ${library_objects})
# GNU ld makes one object of all that is in the archive: templates are there once, a third of the size goes, and
# nothing but cg_ is visible to the program that it is linked into. With other linkers the archive stays as it is.
execute_process(COMMAND ${CMAKE_LINKER} --version OUTPUT_VARIABLE linker_version ERROR_QUIET)
if(linker_version MATCHES "GNU ld" AND CMAKE_OBJCOPY AND NOT CELLGATE_SANITIZE)
  set(joined ${CMAKE_CURRENT_BINARY_DIR}/cellgate.o)
  set(script ${CMAKE_CURRENT_SOURCE_DIR}/csrc/capi/static.ld)
  add_custom_command(TARGET cellgate_static POST_BUILD
    COMMAND ${CMAKE_LINKER} -r --force-group-allocation -T ${script} -o ${joined}
      --whole-archive $<TARGET_FILE:cellgate_static>
    COMMAND ${CMAKE_OBJCOPY} --wildcard --keep-global-symbol=cg_* --strip-unneeded ${joined}
    COMMAND ${CMAKE_COMMAND} -E rm -f $<TARGET_FILE:cellgate_static>
    COMMAND ${CMAKE_AR} qcs $<TARGET_FILE:cellgate_static> ${joined}
    COMMENT "Joining the objects of the static library" VERBATIM)
  set_target_properties(cellgate_static PROPERTIES LINK_DEPENDS ${script})
endif()

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
