#!/bin/sh
# SPDX-License-Identifier: MIT
# A net's C text on an emulated Cortex-M: compiled, linked into so much flash and memory, its self-test run.
#   run.sh PATH NAME FLASH RAM IMAGE [LIBRARY...]   PATH/NAME.c and .h; bytes; bytes of an image; what to link with
# Freestanding: no C library is needed. Prints "flash N ram N static N stack N image N wrong N". Exit status 77: the tools are not here.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
path=$1 name=$2 flash=$3 ram=$4 image=$5
shift 5
for tool in arm-none-eabi-gcc qemu-system-arm; do
    command -v $tool >/dev/null || { echo "SKIP: no $tool"; exit 77; }
done
arm-none-eabi-gcc -std=c99 -ffreestanding -mcpu=cortex-m3 -mthumb -Os -ffunction-sections -fdata-sections -Wall -Wextra -Wpedantic \
    -Wconversion -Wshadow -Werror -c "$path/$name.c" -o "$path/$name.arm.o"
arm-none-eabi-gcc -std=gnu99 -mcpu=cortex-m3 -mthumb -Os -ffreestanding -fno-tree-loop-distribute-patterns -Wall \
    -Wextra -Werror -I"$path" -DNET_H="\"$name.h\"" -DSELF_TEST="${name}_self_test" -DIMAGE_BYTES="$image" \
    -nostdlib -T "$here/image.ld" -Wl,--gc-sections "-Wl,--defsym=FLASH_SIZE=$flash,--defsym=RAM_SIZE=$((ram - image))" \
    "$here/start.c" "$path/$name.arm.o" "$@" -lgcc -o "$path/$name.elf"
timeout 60 qemu-system-arm -M mps2-an385 -cpu cortex-m3 -display none -monitor none -serial none \
    -semihosting-config enable=on,target=native -kernel "$path/$name.elf" </dev/null 2>&1
