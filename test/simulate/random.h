/*
 * random.h: the dice of a client (splitmix64): the same seed and number throw the same.
 * Every file of this folder may enter; nothing else here may be random.
 */
#ifndef SIMULATE_RANDOM_H
#define SIMULATE_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

typedef struct Random
{
	uint64_t state;
} Random;

static inline uint64_t
random_next(Random *random)
{
	uint64_t z = (random->state += 0x9E3779B97F4A7C15u);

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
	return z ^ (z >> 31);
}

/* The seed is stirred before the number is added, so that neighbouring seeds share no client. */
static inline void
random_start(Random *random, uint64_t seed, int number)
{
	random->state = seed;
	random->state = random_next(random) + (uint64_t) number;
	random->state = random_next(random);
}

/* 0 to bound - 1; bound is at least 1. */
static inline int
random_below(Random *random, int bound)
{
	return (int) (random_next(random) % (uint64_t) bound);
}

static inline bool
random_one_in(Random *random, int bound)
{
	return random_below(random, bound) == 0;
}

#endif /* SIMULATE_RANDOM_H */
