/* SPDX-License-Identifier: MIT
 * ONNX files for `evenkeel import`. */
#include "import.h"

int cli_onnx_load(const cli_command *self, const char *file, const cli_onnx *onnx, const ek_dataset_info *shape,
                  ek_net **net, char **report)
{
    const ek_import_onnx_options options = {.channels = shape->channels,
                                            .height = shape->height,
                                            .width = shape->width,
                                            .output = onnx->output,
                                            .bytes = onnx->bytes,
                                            .ignore_properties = onnx->graph_alone,
                                            .report = report};
    return ek_import_onnx(net, file, &options) ? cli_fail(self, "%s", ek_error()) : CLI_GO;
}
