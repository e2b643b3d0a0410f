/*
 * utf8.h: text in UTF-8, whatever the database's encoding.
 * What is sent, and what is digested for good, enters; the checks of arguments that may become either; and what banks write.
 */
#ifndef PAYOUT_UTF8_H
#define PAYOUT_UTF8_H

#include "lib/stringinfo.h"

/*
 * Text of the database's encoding in UTF-8, ended by a zero byte unless it is the given text itself; its length. NULL where
 * a character has no equivalent there.
 */
extern const char *utf8_of(const char *text, int len, int *utf8_len);

/* What stands for a character that the database's encoding lacks: the control character SUBSTITUTE. */
#define UTF8_SUBSTITUTE '\032'

/* The conversion from UTF-8; InvalidOid where there is none, or no transaction in which it could be looked up. */
extern Oid utf8_conversion(void);

/*
 * Appends one valid character of UTF-8 as the database writes it; false where it cannot, and nothing is appended. The
 * conversion is utf8_conversion(); a database in SQL_ASCII needs none and takes the bytes.
 */
extern bool utf8_append(StringInfo text, Oid conversion, const char *utf8, int len);

#endif /* PAYOUT_UTF8_H */
