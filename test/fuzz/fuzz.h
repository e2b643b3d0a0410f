/*
 * fuzz.h
 *		What the fuzz targets share: an assertion, and the server's memory for the length of one execution.
 *		For test/fuzz alone.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* A property of the code under test; libFuzzer keeps the input that breaks it. */
#define REQUIRE(condition)                                                                 \
	do                                                                                     \
	{                                                                                      \
		if (!(condition))                                                                  \
		{                                                                                  \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                                       \
		}                                                                                  \
	} while (0)

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The next line of the input as text of its own (malloc'ed: its end is guarded), and what follows it. */
extern char *fuzz_line(const uint8_t **data, size_t *size);

/* The rest of the input, likewise; without a NUL at its end. */
extern char *fuzz_rest(const uint8_t *data, size_t size);

/* Frees all that palloc() gave since the last call. */
extern void fuzz_free_all(void);

#endif /* FUZZ_H */
