cdef extern from "math.h" nogil:
    double exp(double)
    double floor(double)
