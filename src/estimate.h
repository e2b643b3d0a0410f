/*
 * estimate.h: what the planner's estimates tell; once per process, when the library is loaded.
 */
#ifndef PAYOUT_ESTIMATE_H
#define PAYOUT_ESTIMATE_H

extern void estimate_install(void);

#endif /* PAYOUT_ESTIMATE_H */
