/* The report a person reads. */
#ifndef REHEAT_INJECTOR_REPORT_TEXT_H
#define REHEAT_INJECTOR_REPORT_TEXT_H

#include <stdbool.h>
#include <stdio.h>

#include "runtime/proto.h"

void report_print_text(FILE *out, const struct proto_page *page, bool running);

#endif
