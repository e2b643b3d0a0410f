/*
 * unit.h
 *		The little that the unit tests share: one assertion, a seeded random source, the list of suites.
 *		For test/unit alone.
 */
#ifndef UNIT_H
#define UNIT_H

#include <stdbool.h>
#include <stdint.h>

/* Reports one assertion, named by a printf format; returns condition. */
extern bool ok(bool condition, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The next of a fixed sequence of 64-bit numbers, the same in every run. */
extern uint64_t random_next(void);

extern void test_minify(void);
extern void test_sign(void);
extern void test_verify(void);
extern void test_timestamp(void);
extern void test_code(void);
extern void test_outcome(void);
extern void test_backoff(void);
extern void test_token(void);
extern void test_address(void);
extern void test_framing(void);
extern void test_json(void);

#endif /* UNIT_H */
