/*
 * visible.h: whether a text may stand in a name, a reason or a description: no control characters, and something to see.
 * argument.c asks.
 */
#ifndef PAYOUT_VISIBLE_H
#define PAYOUT_VISIBLE_H

/*
 * Looks at a text in UTF-8. Answers -1 where it has no control character; else the number of bytes before it. shows: whether it
 * has a character that is to be seen.
 */
extern int visible_find_control(const char *utf8, int size, bool *shows);

#endif /* PAYOUT_VISIBLE_H */
