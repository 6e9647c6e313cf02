# SPDX-License-Identifier: MIT
# What `cmake --install` puts where: header, libraries, command, manual, completions for shells, pkg-config file, CMake
# package, licence.
include(CMakePackageConfigHelpers)

install(FILES include/evenkeel.h include/evenkeel.hpp TYPE INCLUDE)
install(FILES LICENSE README.md TYPE DOC)
install(DIRECTORY docs examples TYPE DOC PATTERN site EXCLUDE)
if(TARGET evenkeel)
    install(TARGETS evenkeel)
    install(FILES packaging/completions/evenkeel.bash RENAME evenkeel
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
    install(FILES packaging/completions/_evenkeel DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
    install(FILES packaging/completions/evenkeel.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endif()
if(TARGET manual)
    foreach(section 1 3)
        install(DIRECTORY ${PROJECT_BINARY_DIR}/man/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section}
            FILES_MATCHING PATTERN "*.${section}")
    endforeach()
endif()

# Two export sets: a program with the shared library need not have zlib's, curl's, ... development files.
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/evenkeel)
foreach(kind shared static)
    install(TARGETS evenkeel_${kind} EXPORT evenkeel-${kind})
    install(EXPORT evenkeel-${kind} NAMESPACE evenkeel:: DESTINATION ${package_dir})
endforeach()

configure_package_config_file(cmake/evenkeel-config.cmake.in evenkeel-config.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(evenkeel-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/evenkeel-config.cmake ${PROJECT_BINARY_DIR}/evenkeel-config-version.cmake
    cmake/FindProtobufC.cmake DESTINATION ${package_dir})

# The pkg-config file names the prefix, which `cmake --install --prefix` may only now decide: written at install time.
foreach(dir LIBDIR INCLUDEDIR)
    if(IS_ABSOLUTE "${CMAKE_INSTALL_${dir}}")
        set(pc_${dir} "${CMAKE_INSTALL_${dir}}")
    else()
        set(pc_${dir} "\${prefix}/${CMAKE_INSTALL_${dir}}")
    endif()
endforeach()
set(at "@") # so that the first pass over the template leaves @prefix@ to the second
list(JOIN static_libs " " pc_static_libs)
configure_file(cmake/evenkeel.pc.in evenkeel.pc.in @ONLY)
install(CODE "get_filename_component(prefix \"\${CMAKE_INSTALL_PREFIX}\" ABSOLUTE)
    configure_file(\"${PROJECT_BINARY_DIR}/evenkeel.pc.in\" \"${PROJECT_BINARY_DIR}/evenkeel.pc\" @ONLY)")
install(FILES ${PROJECT_BINARY_DIR}/evenkeel.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
