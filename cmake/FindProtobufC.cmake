# SPDX-License-Identifier: MIT
# Finds the library protobuf-c, as ProtobufC::ProtobufC. Installed beside evenkeel-config.cmake as well: CMake has no
# module for it, and who links libevenkeel.a links to it.
find_path(ProtobufC_INCLUDE_DIR protobuf-c/protobuf-c.h)
find_library(ProtobufC_LIBRARY protobuf-c)
mark_as_advanced(ProtobufC_INCLUDE_DIR ProtobufC_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(ProtobufC REQUIRED_VARS ProtobufC_LIBRARY ProtobufC_INCLUDE_DIR)

if(ProtobufC_FOUND AND NOT TARGET ProtobufC::ProtobufC)
    add_library(ProtobufC::ProtobufC UNKNOWN IMPORTED)
    set_target_properties(ProtobufC::ProtobufC PROPERTIES IMPORTED_LOCATION "${ProtobufC_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${ProtobufC_INCLUDE_DIR}")
endif()
