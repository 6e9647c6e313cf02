# SPDX-License-Identifier: MIT
# ONNX files: the system's onnx.proto, made into C by protobuf-c's compiler. Sets onnx_generated, the sources in the
# build folder (nothing: a build without ONNX), and onnx_include, where their header is.
set(onnx_generated)
set(onnx_include)
if(EVENKEEL_ONNX)
    find_program(EVENKEEL_PROTOC_C protoc-c DOC "Compiler of protobuf-c")
    find_file(EVENKEEL_ONNX_PROTO NAMES onnx/onnx.proto onnx/onnx-ml.proto DOC "ONNX's message types")
    mark_as_advanced(EVENKEEL_PROTOC_C EVENKEEL_ONNX_PROTO)
endif()
if(EVENKEEL_ONNX AND NOT (EVENKEEL_PROTOC_C AND EVENKEEL_ONNX_PROTO))
    if(NOT EVENKEEL_ONNX STREQUAL "AUTO")
        message(FATAL_ERROR "EVENKEEL_ONNX is ${EVENKEEL_ONNX}, and protoc-c or onnx/onnx.proto is not installed")
    endif()
    message(NOTICE "Evenkeel: without ONNX (protoc-c or onnx/onnx.proto is not installed)")
    return()
endif()
list(APPEND CMAKE_MODULE_PATH ${CMAKE_CURRENT_LIST_DIR})
optional_part(ONNX ProtobufC::ProtobufC -lprotobuf-c ProtobufC)
list(POP_BACK CMAKE_MODULE_PATH)
if(NOT "EK_HAVE_ONNX=1" IN_LIST optional_definitions)
    return()
endif()

# In a package of its own: what the C compiler sees is named ek_onnx__..., and so is everything that libevenkeel.a
# shows to a linker. The files are the same, which hold no name of a package.
set(onnx_include ${CMAKE_CURRENT_BINARY_DIR}/onnx)
file(READ ${EVENKEEL_ONNX_PROTO} onnx_text)
string(REGEX REPLACE "\npackage [A-Za-z0-9_.]+;" "\npackage ek_onnx;" onnx_text "${onnx_text}")
file(WRITE ${onnx_include}/onnx.proto.new "${onnx_text}")
file(COPY_FILE ${onnx_include}/onnx.proto.new ${onnx_include}/onnx.proto ONLY_IF_DIFFERENT)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${EVENKEEL_ONNX_PROTO})
set(onnx_generated ${onnx_include}/onnx.pb-c.c ${onnx_include}/onnx.pb-c.h)
add_custom_command(OUTPUT ${onnx_generated}
    COMMAND ${EVENKEEL_PROTOC_C} --proto_path=${onnx_include} --c_out=${onnx_include} ${onnx_include}/onnx.proto
    DEPENDS ${onnx_include}/onnx.proto VERBATIM COMMENT "Generating onnx.pb-c.c")
set_source_files_properties(${onnx_generated} PROPERTIES COMPILE_OPTIONS -w) # its warnings are not ours to mend
