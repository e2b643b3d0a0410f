/*
 * utf8.h: text in UTF-8, whatever the database's encoding.
 * What is sent, and what is digested for good, enters; and the checks of arguments that may become either.
 */
#ifndef PAYOUT_UTF8_H
#define PAYOUT_UTF8_H

/*
 * Text of the database's encoding in UTF-8, ended by a zero byte unless it is the given text itself; its length. NULL where
 * a character has no equivalent there.
 */
extern const char *utf8_of(const char *text, int len, int *utf8_len);

#endif /* PAYOUT_UTF8_H */
