/*
 * crash_point.h: places at which a developer build can be made to die, and faults that it can be told to commit.
 * Anyone may name a place; in a production build neither exists.
 */
#ifndef PAYOUT_CRASH_POINT_H
#define PAYOUT_CRASH_POINT_H

#ifdef PAYOUT_DEVELOPER
extern void crash_point(const char *name);
extern bool mutation(const char *name);
extern void crash_point_define_settings(void);
#else
#define crash_point(name) ((void) 0)
#define mutation(name) false
#define crash_point_define_settings() ((void) 0)
#endif

#endif /* PAYOUT_CRASH_POINT_H */
