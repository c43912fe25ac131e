# invar_shapes(TARGET FOLDER): the JSON documents of FOLDER become texts of the program, by their names without the
# ending: shape_texts() of src/make/shape_document.h. The file is made anew when a document changes.
function(invar_shapes target folder)
  file(GLOB documents CONFIGURE_DEPENDS ${folder}/*.json)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${documents})
  set(rows "")
  set(count 0)
  foreach(document ${documents})
    get_filename_component(name ${document} NAME)
    string(REGEX REPLACE "\\.json$" "" name ${name})
    file(READ ${document} text)
    string(APPEND rows "    {\"${name}\", R\"json(${text})json\"},\n")
    math(EXPR count "${count} + 1")
  endforeach()
  set(made ${CMAKE_BINARY_DIR}/made/shape_texts.cpp)
  file(CONFIGURE OUTPUT ${made} @ONLY CONTENT "// Made by cmake/shapes.cmake from the documents in src/make/shapes.
#include <array>

#include \"make/shape_document.h\"

namespace invar {

std::span<const ShapeText> shape_texts() {
    static constexpr std::array<ShapeText, ${count}> kTexts = {{
${rows}    }};
    return kTexts;
}

}  // namespace invar
")
  target_sources(${target} PRIVATE ${made})
endfunction()
