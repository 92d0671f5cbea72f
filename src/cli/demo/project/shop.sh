#!/bin/sh
# The tiny shop: ./shop.sh COMMAND ARGUMENTS
here=$(dirname "$0")
command=$1
shift
. "$here/lib/$command.sh"
