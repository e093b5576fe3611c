/* Constants of Philox4x32-10, from the paper named in random.h. */
#ifndef FNN_PHILOX_H
#define FNN_PHILOX_H

#define FNN_PHILOX_FACTOR0 0xD2511F53u
#define FNN_PHILOX_FACTOR1 0xCD9E8D57u
#define FNN_PHILOX_KEY0 0x9E3779B9u
#define FNN_PHILOX_KEY1 0xBB67AE85u

#endif
